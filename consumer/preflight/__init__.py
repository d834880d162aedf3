"""`consumer check`: what would stop or hurt the service later is found now. Start reading in table.py."""
