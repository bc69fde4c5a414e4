"""The three training phases: loop, loss, optimizer, schedules, early stopping, precision."""
