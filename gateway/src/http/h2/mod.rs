//! stand-in
#![allow(missing_docs, clippy::all)]
pub mod server {
    use crate::error::Error;
    use crate::http::pump::Outlet;
    use crate::http::*;
    use bytes::Bytes;
    use std::task::*;
    pub enum Responder {}
    impl Responder {
        pub fn inform(&mut self, _: &ResponseHead) {
            match *self {}
        }
        pub fn head(&mut self, _: &ResponseHead, _: Option<u64>) -> Result<bool, Error> {
            match *self {}
        }
        pub fn abort(&mut self) {
            match *self {}
        }
        pub fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<Error> {
            match *self {}
        }
        pub fn upgrade(&mut self, _: &ResponseHead, _: Body) -> Result<tokio::io::DuplexStream, Error> {
            match *self {}
        }
    }
    impl Outlet for Responder {
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, Error>> {
            match *self {}
        }
        fn data(&mut self, _: Bytes, _: bool) -> Result<(), Error> {
            match *self {}
        }
        fn trailers(&mut self, _: &Fields) -> Result<(), Error> {
            match *self {}
        }
        fn end(&mut self) -> Result<(), Error> {
            match *self {}
        }
        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            match *self {}
        }
    }
}
pub mod client {
    use crate::http::Stream;
    use crate::limits::Limits;
    #[derive(Clone)]
    pub enum Handle {}
    impl Handle {
        pub fn is_usable(&self) -> bool {
            match *self {}
        }
        pub fn can_open(&self) -> bool {
            match *self {}
        }
        pub fn open_streams(&self) -> usize {
            match *self {}
        }
    }
    pub fn start(_: Stream, _: bytes::BytesMut, _: &Limits) -> (Handle, std::future::Ready<()>) {
        unimplemented!()
    }
}
