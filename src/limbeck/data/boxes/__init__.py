"""Pictures with boxes around what is in them, for object detection."""
