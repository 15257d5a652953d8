//! Simulation and lab tests of Hither.
