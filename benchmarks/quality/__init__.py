"""Quality of refined maps, masks and boundaries on composite images with exact masks."""
