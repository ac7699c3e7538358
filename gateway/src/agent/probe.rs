//! Whether the backend answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For one question.
const TIME: Duration = Duration::from_secs(2);

/// Whether it takes a connection, and answers well when a path is asked for.
pub(super) async fn answers(address: &str, path: Option<&str>) -> bool {
    let asking = async {
        let mut tcp = TcpStream::connect(address).await.ok()?;
        let Some(path) = path else { return Some(true) };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.ok()?;
        // "HTTP/1.1 200"
        let mut status = [0; 12];
        tcp.read_exact(&mut status).await.ok()?;
        Some(is_well(&status))
    };
    matches!(tokio::time::timeout(TIME, asking).await, Ok(Some(true)))
}

fn is_well(status: &[u8; 12]) -> bool {
    status.starts_with(b"HTTP/1.") && status.get(8) == Some(&b' ') && matches!(status.get(9), Some(b'2' | b'3'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_well() {
        assert!(is_well(b"HTTP/1.1 200") && is_well(b"HTTP/1.0 302"));
        assert!(!is_well(b"HTTP/1.1 503") && !is_well(b"HTTP/2.0 200") && !is_well(b"SSH-2.0-Open"));
    }
}
