#!/bin/sh
# New SSH host keys and a new root password: PASSWORD=... /reset-hyper.sh (usage without PASSWORD).
exec python -m hyper_image.reset
