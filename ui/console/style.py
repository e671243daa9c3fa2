"""The few rules of style that Streamlit has no setting for: less empty space, and room for a thumb on a phone."""

CSS = """
<style>
.stMainBlockContainer { padding-top: 3.2rem; padding-bottom: 3rem; }
[data-testid="stMetricValue"] { font-size: 1.5rem; }
.flow { max-width: 640px; margin: 0 auto; }
.flow text { font-family: inherit; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: 0.8rem; padding-right: 0.8rem; }
  .stButton button { min-height: 2.75rem; }
  [data-testid="stMetricValue"] { font-size: 1.2rem; }
}
</style>
"""
