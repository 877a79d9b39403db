//! Functions: a container image and a script that run once for each event, most often an object that was put
//! into a bucket. A *service* is one such function, in the words of OSCAR, whose tools go on working. An
//! *event* is what it runs on. The *queue* holds events from the moment they are on disk until their run is
//! over. A *Job* is one attempt to run one event. The *gateway* takes events in and has Jobs made of them.

pub mod event;
pub mod fdl;
pub mod figures;
pub mod gateway;
pub mod machine;
pub mod objects;
pub mod places;
pub mod queue;
pub mod service;
pub mod settings;
pub mod store;
