"""The checks of launch/doctor.py."""
