"""What `streamlit run` serves: the console's pages, and its own routes for a login that outlives a reload and for sign-in."""

import os
from pathlib import Path

from streamlit.starlette import App

from ui.console.kept_login import kept_login_route
from ui.console.sign_in import sign_in_routes

app = App(
    Path(__file__).with_name("app.py"), routes=[kept_login_route(os.environ), *sign_in_routes(os.environ)]
)
