"""What the simulation of drift is made of: traffic of real texts, and the counting of alarms."""
