"""What `streamlit run` serves: the console's pages, and the one route of its own that lets a login outlive a reload."""

import os
from pathlib import Path

from streamlit.starlette import App

from ui.console.kept_login import kept_login_route

app = App(Path(__file__).with_name("app.py"), routes=[kept_login_route(os.environ)])
