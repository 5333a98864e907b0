"""The pictures of the documentation: one module a subject, one ``draw_NAME`` a picture."""
