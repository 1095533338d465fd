"""What every other folder of the runtime needs: errors, deadlines, JSON, memory, addresses, priorities.

Comes in and goes out: plain values. Knows no model, no service and no HTTP.
"""
