"""The queues of a review, from the files of a run or from a data set."""
