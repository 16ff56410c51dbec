"""HTTP plumbing that the API and the portal share."""
