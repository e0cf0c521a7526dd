"""Two services, a log file and an EDI file, none of which knows of Lastseen; and what is told to Lastseen about them."""
