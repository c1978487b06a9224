//! Paths of frames, checked on their way in.

use apiary_core::{ErrorKind, FramePath, NameError};

use crate::{error::ClientError, v1};

impl From<&FramePath> for v1::FramePath {
    fn from(path: &FramePath) -> Self {
        Self {
            hive: path.hive.as_str().to_owned(),
            box_name: path.box_name.as_str().to_owned(),
            frame: path.frame.as_str().to_owned(),
        }
    }
}

impl TryFrom<&v1::FramePath> for FramePath {
    type Error = NameError;

    fn try_from(path: &v1::FramePath) -> Result<Self, NameError> {
        Self::new(&path.hive, &path.box_name, &path.frame)
    }
}

impl From<NameError> for ClientError {
    fn from(error: NameError) -> Self {
        Self::new(ErrorKind::InvalidInput, error.to_string())
    }
}

/// The path in a request, where it must stand.
pub fn frame_path(path: Option<&v1::FramePath>) -> Result<FramePath, ClientError> {
    let path = path.ok_or_else(|| ClientError::new(ErrorKind::InvalidInput, "the request names no frame"))?;
    Ok(FramePath::try_from(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_travels_unharmed_and_is_checked_on_arrival() {
        let path = FramePath::new("Hive", "box", "frame").unwrap();
        assert_eq!(frame_path(Some(&v1::FramePath::from(&path))).unwrap(), path);
        let evil = v1::FramePath { hive: "..".into(), box_name: "b".into(), frame: "f".into() };
        assert_eq!(frame_path(Some(&evil)).unwrap_err().kind, ErrorKind::InvalidInput);
        assert_eq!(frame_path(None).unwrap_err().kind, ErrorKind::InvalidInput);
    }
}
