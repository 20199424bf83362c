#!/bin/sh
# Says how the watch stands.
echo "Good evening. The log has $(ls notes | wc -l | tr -d ' ') pages, and the lamp is lit."
