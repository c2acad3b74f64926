"""What it looks like: panels that draw on one Axes, pages that compose them, and the style that both wear."""
