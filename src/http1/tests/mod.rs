//! The tests of the room, by direction.
