"""Every recipe and its baselines, trained on composite images: the papers' ablations in small."""
