"""One task of your own -> a bundle: what is learned, how it is judged, what is said of it."""
