//! Whether the backend answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For one question.
const TIME: Duration = Duration::from_secs(2);
/// How much of an answer is read. To many servers it is an error, of which they tell each time, when nobody reads it to its end.
const MOST: u64 = 1 << 20;

/// Whether it takes a connection, and answers well when a path is asked for.
pub(super) async fn answers(address: &str, path: Option<&str>) -> bool {
    let mut well = false;
    let asking = async {
        let mut tcp = TcpStream::connect(address).await?;
        let Some(path) = path else {
            well = true;
            return Ok(());
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await?;
        // "HTTP/1.1 200"
        let mut status = [0; 12];
        tcp.read_exact(&mut status).await?;
        well = is_well(&status);
        tokio::io::copy(&mut tcp.take(MOST), &mut tokio::io::sink()).await?;
        Ok::<_, std::io::Error>(())
    };
    // What comes after the status, and whether it comes, is no matter.
    let _ = tokio::time::timeout(TIME, asking).await;
    well
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

    #[tokio::test]
    async fn an_answer_is_read_to_its_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.read_u8().await.unwrap();
            tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            tcp.write_all(&[b'x'; 100_000]).await.unwrap();
            tcp.shutdown().await.unwrap();
            // The rest of the request, and not a reset.
            tcp.read_to_end(&mut Vec::new()).await.unwrap();
        };
        assert!(tokio::join!(answers(&address, Some("/")), server).0);
    }
}
