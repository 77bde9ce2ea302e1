"""The installed service under a real systemd: `make test-systemd`. Needs root, systemd-nspawn and mmdebstrap."""
