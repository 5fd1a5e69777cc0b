//! Configuration: load, merge, validate, print.
