"""The paths of the API, a module a topic, each with `add(app, served)`.

They import Starlette at their top: `create_app` imports them, and only after it knows that it is there.
"""
