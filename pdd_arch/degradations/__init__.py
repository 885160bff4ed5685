"""What turns an HR image into an LR one: resizing, blind degradations and parametric cameras."""
