"""The phase plane by hand in a browser: what is shown, what is drawn of it, and the server that shows it."""
