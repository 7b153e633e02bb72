//! The observer and a real API server with faults between them: what is known stays, what can be known is, and
//! nobody is asked more than is good for him.

mod controlplane_faults {
    mod fixture;
    mod lists;
    mod refusals;
    mod servers;
    mod silence;
}
