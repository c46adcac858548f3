"""From a photo's file to pixels and metadata."""
