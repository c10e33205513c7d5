"""Judges a TCP/IP stack from outside: raw packets in, answers and their times out. See the README beside `run`."""
