//! Text into tokens, with Go's trim markers applied.

use crate::error::Located;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// `{{`.
    Open,
    /// `}}`.
    Close,
    Space,
    Assign,
    Declare,
    Pipe,
    Comma,
    OpenParenthesis,
    CloseParenthesis,
    Quoted,
    Raw,
    Character,
    Number,
    /// `$` or `$name`.
    Variable,
    Dot,
    /// `.name`.
    Field,
    Identifier,
    End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    pub(crate) at: usize,
    pub(crate) text: &'t str,
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token<'t>>,
}

/// The tokens of `text`, the last of which is [`Kind::End`].
pub(crate) fn lex(text: &str) -> Result<Vec<Token<'_>>, Located> {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
    };
    let mut trim = false;
    while lexer.text_until_action(trim)? {
        trim = lexer.action()?;
    }
    lexer.emit(Kind::End, lexer.at);
    Ok(lexer.tokens)
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// `{{- ` trims what is before it.
fn opens_trimmed(rest: &str) -> bool {
    rest.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(is_space))
}

/// How long a closing delimiter is, and whether it trims what follows.
fn closing(rest: &str) -> Option<(usize, bool)> {
    if rest.starts_with(CLOSE) {
        return Some((CLOSE.len(), false));
    }
    let trimmed = rest
        .strip_prefix(is_space)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| rest.starts_with(CLOSE));
    trimmed.then_some((2 + CLOSE.len(), true))
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn emit(&mut self, kind: Kind, from: usize) {
        self.tokens.push(Token {
            kind,
            at: from,
            text: self.text.get(from..self.at).unwrap_or_default(),
        });
    }

    /// Passes over text; false at the end of the template.
    fn text_until_action(&mut self, mut trim: bool) -> Result<bool, Located> {
        loop {
            if trim {
                self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
            }
            let from = self.at;
            let Some(length) = self.rest().find(OPEN) else {
                self.at = self.text.len();
                if self.at > from {
                    self.emit(Kind::Text, from);
                }
                return Ok(false);
            };
            let open = from + length;
            let after = self.text.get(open + OPEN.len()..).unwrap_or_default();
            let trims = opens_trimmed(after);
            let text = &self.rest()[..length];
            let kept = if trims {
                text.trim_end_matches(is_space).len()
            } else {
                length
            };
            if kept > 0 {
                self.at = from + kept;
                self.emit(Kind::Text, from);
            }
            self.at = open + OPEN.len() + if trims { 2 } else { 0 };
            if !self.rest().starts_with("/*") {
                self.tokens.push(Token {
                    kind: Kind::Open,
                    at: open,
                    text: OPEN,
                });
                return Ok(true);
            }
            let Some(end) = self.rest().find("*/") else {
                return Err(Located::new(open, "unclosed comment"));
            };
            self.at += end + 2;
            let Some((length, trims)) = closing(self.rest()) else {
                return Err(Located::new(
                    self.at,
                    "a comment must be alone between {{ and }}",
                ));
            };
            self.at += length;
            trim = trims;
        }
    }

    /// The tokens up to and with the closing delimiter; true when that trims.
    fn action(&mut self) -> Result<bool, Located> {
        let opened = self.at;
        loop {
            let from = self.at;
            if let Some((length, trims)) = closing(self.rest()) {
                self.at += length;
                self.emit(Kind::Close, from);
                return Ok(trims);
            }
            let Some(character) = self.next() else {
                return Err(Located::new(opened, "unclosed action: }} is missing"));
            };
            let kind = match character {
                character if is_space(character) => {
                    while self.peek().is_some_and(is_space) && closing(self.rest()).is_none() {
                        self.next();
                    }
                    Kind::Space
                }
                '=' => Kind::Assign,
                ':' => {
                    if self.next() != Some('=') {
                        return Err(Located::new(from, "expected :="));
                    }
                    Kind::Declare
                }
                '|' => Kind::Pipe,
                ',' => Kind::Comma,
                '(' => Kind::OpenParenthesis,
                ')' => Kind::CloseParenthesis,
                '"' => self.quoted('"', from)?,
                '\'' => self.quoted('\'', from)?,
                '`' => {
                    let Some(length) = self.rest().find('`') else {
                        return Err(Located::new(from, "unterminated raw quoted string"));
                    };
                    self.at += length + 1;
                    Kind::Raw
                }
                '$' => {
                    self.word(from)?;
                    Kind::Variable
                }
                '.' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                    self.word(from)?;
                    if self.at == from + 1 {
                        Kind::Dot
                    } else {
                        Kind::Field
                    }
                }
                '.' | '+' | '-' | '0'..='9' => self.number(from)?,
                character if is_word(character) => {
                    self.word(from)?;
                    Kind::Identifier
                }
                character => {
                    let message = format!("unexpected {character:?} in an action");
                    return Err(Located::new(from, message));
                }
            };
            self.emit(kind, from);
        }
    }

    /// Letters and digits, then something that may follow a word.
    fn word(&mut self, from: usize) -> Result<(), Located> {
        while self.peek().is_some_and(is_word) {
            self.next();
        }
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(next) if is_space(next) || self.rest().starts_with(CLOSE) => Ok(()),
            Some(next) => {
                let word = self.text.get(from..self.at).unwrap_or_default();
                let message = format!("unexpected {next:?} after {word:?}");
                Err(Located::new(self.at, message))
            }
        }
    }

    fn quoted(&mut self, quote: char, from: usize) -> Result<Kind, Located> {
        let what = if quote == '"' {
            "quoted string"
        } else {
            "character constant"
        };
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|next| next != '\n') => {
                    self.next();
                }
                Some('\\' | '\n') | None => {
                    return Err(Located::new(from, format!("unterminated {what}")));
                }
                Some(character) if character == quote => break,
                Some(_) => {}
            }
        }
        Ok(if quote == '"' {
            Kind::Quoted
        } else {
            Kind::Character
        })
    }

    /// Whatever looks like a number; whether it is one is decided when it is read.
    fn number(&mut self, from: usize) -> Result<Kind, Located> {
        let mut before = self.text.get(from..self.at).and_then(|t| t.chars().next());
        let hexadecimal = {
            let digits = self.text.get(from..).unwrap_or_default();
            let digits = digits.trim_start_matches(['+', '-']);
            digits.starts_with("0x") || digits.starts_with("0X")
        };
        while let Some(next) = self.peek() {
            let exponent = if hexadecimal { ['p', 'P'] } else { ['e', 'E'] };
            let sign_of_exponent =
                matches!(next, '+' | '-') && before.is_some_and(|b| exponent.contains(&b));
            if !(is_word(next) || next == '.' || sign_of_exponent) {
                break;
            }
            before = Some(next);
            self.next();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            let text = self.text.get(from..self.at).unwrap_or_default();
            return Err(Located::new(from, format!("bad number syntax: {text:?}")));
        }
        Ok(Kind::Number)
    }
}
