"""Frames of many videos: from files, arrays, or shards of JPEG frames."""
