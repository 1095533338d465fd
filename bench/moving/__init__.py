"""A program for gunicorn on its way to this platform: what each step answers and holds, beside gunicorn's workers."""
