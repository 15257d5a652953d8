//! The sans-IO heart of Hither: fetch state machine, scheduler, policy, inventory, serving.
