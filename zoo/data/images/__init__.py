"""Image files: decoding, headers and views."""
