"""The few rules of style that Streamlit has no setting for: less empty space, and room for a thumb on a phone."""

CSS = """
<style>
.stMainBlockContainer { padding: 4rem 2.2rem 3rem; }
[data-testid="stMetricValue"] { font-size: 1.5rem; }
/* Captions carry what a page means: 3.9 to 1 is too little contrast for that (WCAG 2.2, 1.4.3 asks for 4.5). */
[data-testid="stCaptionContainer"] { color: inherit; opacity: 0.8; }
.st-key-stop_for_all button, .st-key-confirm_stop button { background: #B3261E; border-color: #B3261E; color: #fff; }
.st-key-stop_for_all button:hover, .st-key-confirm_stop button:hover { background: #8C1D18; border-color: #8C1D18; color: #fff; }
/* Always in sight, however far a page is scrolled; below dialogs. */
.st-key-stop_for_all, .st-key-clear_stop { position: fixed; top: 0.55rem; right: 4rem; z-index: 999991; width: auto; }
/* Streamlit's own "Stop" ends the drawing of a page; beside "Stop for all" it would be taken for something else. */
[data-testid="stStatusWidget"] button { display: none; }
.sign-in { display: block; text-align: center; padding: 0.6rem; border: 1px solid currentColor; border-radius: 0.5rem; font-weight: 600; }
.sign-in, .sign-in:visited { color: inherit; text-decoration: none; }
.flow { width: 100%; max-width: 640px; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: 0.8rem; padding-right: 0.8rem; }
  .stButton button { min-height: 2.75rem; }
  [data-testid="stMetricValue"] { font-size: 1.2rem; }
}
</style>
"""
