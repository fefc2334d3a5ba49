"""What benchmarks compare with: other people's programs, started and measured for real. No benchmarks."""
