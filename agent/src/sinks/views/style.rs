//! The style of a report: colours, width, and detail.

use anstyle::{AnsiColor, Style as Ansi};

/// The style that the reader's terminal allows and the reader requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// True if colours may be written.
    pub colour: bool,
    /// The width of the terminal in columns. None: nothing is wrapped or shortened, as for a pipe.
    pub width: Option<usize>,
    /// True for every detail with nothing shortened; tables may be wider than the terminal.
    pub wide: bool,
}

impl Style {
    /// The minimum width of a layout; a narrower terminal breaks lines by itself.
    const LEAST_WIDTH: usize = 16;

    /// The number of columns at which prose wraps.
    pub(super) fn columns(self) -> Option<usize> {
        self.width.map(|w| w.max(Self::LEAST_WIDTH))
    }

    /// Returns `text` in the colour of `tone`, or unchanged.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let ansi = tone.ansi();
        format!("{ansi}{text}{ansi:#}")
    }
}

/// The meaning of a text, which decides its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sinks::views) enum Tone {
    #[default]
    Plain,
    Strong,
    Faint,
    Good,
    Notice,
    Warning,
    Bad,
}

impl Tone {
    fn ansi(self) -> Ansi {
        let colour = |c: AnsiColor| Ansi::new().fg_color(Some(c.into()));
        match self {
            Self::Plain => Ansi::new(),
            Self::Strong => Ansi::new().bold(),
            Self::Faint => Ansi::new().dimmed(),
            Self::Good => colour(AnsiColor::Green).bold(),
            Self::Notice => colour(AnsiColor::Cyan),
            Self::Warning => colour(AnsiColor::Yellow).bold(),
            Self::Bad => colour(AnsiColor::Red).bold(),
        }
    }
}
