//! The two ends of an observation connection, whatever carries it: an in-process channel in
//! `hype up`, or frames on a QUIC stream. The agent and the controller see only these ends.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::observation::{FromNode, MAX_FRAME, ToNode};

/// Messages that may wait in either direction. A control plane that falls behind by more makes
/// the node drop the connection: the next one starts with a snapshot, so nothing stays wrong.
pub const CAPACITY: usize = 4096;

/// One end: sends `S`, receives `R`. Dropping it ends the other.
#[derive(Debug)]
pub struct End<S, R> {
    /// Towards the other end.
    pub sender: mpsc::Sender<S>,
    /// From the other end.
    pub receiver: mpsc::Receiver<R>,
}

/// The node's end.
pub type NodeEnd = End<FromNode, ToNode>;
/// The control plane's end.
pub type ControlEnd = End<ToNode, FromNode>;

/// A connected pair.
pub fn pair() -> (NodeEnd, ControlEnd) {
    let (up, from_node) = mpsc::channel(CAPACITY);
    let (down, from_control) = mpsc::channel(CAPACITY);
    (End { sender: up, receiver: from_control }, End { sender: down, receiver: from_node })
}

/// A frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The announced length is above [`MAX_FRAME`].
    #[error("frame of {0} bytes is longer than {MAX_FRAME}")]
    TooLong(usize),
    /// The body is no message of this release.
    #[error("malformed frame: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Writes one message as a frame.
///
/// # Errors
/// When the connection broke.
pub async fn write<T: serde::Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let len = frame.len() - 4;
    let prefix = u32::try_from(len).ok().filter(|_| len <= MAX_FRAME);
    frame[..4].copy_from_slice(&prefix.ok_or(FrameError::TooLong(len))?.to_be_bytes());
    stream.write_all(&frame).await?;
    Ok(())
}

/// Reads one frame; none at a clean end.
///
/// # Errors
/// When the connection broke, or the frame is too long or malformed.
pub async fn read<T: serde::de::DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    let mut prefix = [0; 4];
    match stream.read_exact(&mut prefix).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    };
    let len = u32::from_be_bytes(prefix) as usize;
    if len > MAX_FRAME {
        return Err(FrameError::TooLong(len));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Pumps an end over a byte stream until either side ends.
///
/// # Errors
/// When the connection broke or the other side sent something malformed.
pub async fn carry<S, R>(
    end: End<R, S>,
    mut writer: impl AsyncWrite + Unpin,
    mut reader: impl AsyncRead + Unpin,
) -> Result<(), FrameError>
where
    S: serde::Serialize,
    R: serde::de::DeserializeOwned,
{
    let End { sender, mut receiver } = end;
    let up = async {
        while let Some(message) = receiver.recv().await {
            write(&mut writer, &message).await?;
        }
        Ok(())
    };
    let down = async {
        while let Some(message) = read(&mut reader).await? {
            if sender.send(message).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        outcome = up => outcome,
        outcome = down => outcome,
    }
}
