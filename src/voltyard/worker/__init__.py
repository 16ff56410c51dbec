"""The worker: jobs that must happen, and housekeeping on a beat, under a lease."""
