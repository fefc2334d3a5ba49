"""Questions put to a site's history or to the twin, and their answers as pages with plots and as JSON."""
