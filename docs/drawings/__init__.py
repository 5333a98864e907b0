"""The images of the documentation: one module per subject, one ``draw_NAME`` per image."""
