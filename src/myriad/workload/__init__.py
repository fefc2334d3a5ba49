"""What people ask for: training jobs, inference services, tenants with quota, prices."""
