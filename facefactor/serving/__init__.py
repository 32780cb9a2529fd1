"""What the page and the REST service are made of: limits, a gate, errors, offers."""
