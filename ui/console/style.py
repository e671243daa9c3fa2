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
/* What is chosen is written in the primary colour on a tint of it: too little contrast in the dark. */
[data-testid="stButtonGroup"] :is([aria-checked="true"], [aria-pressed="true"]) p { color: light-dark(#00598C, #7CC0F0); }
.sign-in { display: block; text-align: center; padding: 0.6rem; border: 1px solid currentColor; border-radius: 0.5rem; font-weight: 600; }
.sign-in, .sign-in:visited { color: inherit; text-decoration: none; }
.flow { width: 100%; max-width: 640px; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: 0.8rem; padding-right: 0.8rem; }
  /* 44 px, what a thumb hits (WCAG 2.2, 2.5.5): all that is pressed, with the way to the other pages. */
  [data-testid="stButton"] button, [data-testid="stFormSubmitButton"] button, [data-testid="stPopoverButton"],
  [data-testid="stButtonGroup"] button, [data-testid="stDownloadButton"] button, [data-testid="stFileUploaderDropzone"] button,
  [data-testid="stTab"], [data-testid="stExpander"] summary, [data-testid="stSidebarNavLink"], .sign-in { min-height: 2.75rem; }
  [data-testid="stExpander"] summary { align-items: center; }
  [data-testid="stExpandSidebarButton"], [data-testid="stSidebarCollapseButton"] button { min-height: 2.75rem; min-width: 2.75rem; }
  [data-testid="stMetricValue"] { font-size: 1.2rem; }
}
</style>
"""
