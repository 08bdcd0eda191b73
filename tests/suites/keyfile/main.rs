//! The client's key files: what the real `openssl` and `keytool` write is read, what is no usable key is
//! refused by name, and no file makes the reader hang, panic or fill memory.

mod formats;
mod hostile;
mod material;
mod paths;
mod refusals;
