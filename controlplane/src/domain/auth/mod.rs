//! Accounts and sign-ins: register, log in, refresh, log out, and who a token belongs to.
//! A login costs one password hash whether the account exists or not, so neither the answer nor
//! its time tells which names exist. Registering tells it, and is limited by address.

pub mod keys;
pub mod password;
pub mod token;

use hype_protocol::gateway::User;
use hype_protocol::id::UserId;

use crate::app::App;
use crate::domain::text;
use crate::error::Error;
use crate::store;
use crate::store::sign_in::{Refresh, Refreshed, SignIn};
use crate::store::snowflake::unix_ms;
use crate::store::user::Account;

/// What somebody who signed in gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who it is.
    pub user: User,
    /// Proves it to the API and the gateway.
    pub access_token: String,
    /// For how long the access token is good, in seconds.
    pub expires_in_s: u64,
    /// Gets the next pair of tokens, once.
    pub refresh_token: String,
}

/// Makes an account and signs it in.
///
/// # Errors
/// [`Error::InvalidRequest`], [`Error::NameTaken`], or [`Error::Overloaded`] when too many
/// passwords wait for their hash.
pub async fn register(app: &App, name: &str, password: &str) -> Result<Session, Error> {
    let name = text::account_name(name)?;
    text::password(password)?;
    let name_key = text::account_key(&name);
    if app.store.account(&name_key).await?.is_some() {
        return Err(Error::NameTaken);
    }
    let password_hash = app.passwords.hash(password.to_owned()).await?;
    let id = UserId(app.ids.next().await?);
    let account = Account { user: User { id, name }, password_hash };
    match app.store.create_user(&account, &name_key, unix_ms()).await {
        Ok(()) => sign_in(app, account.user).await,
        Err(store::Error::Conflict) => Err(Error::NameTaken),
        Err(error) => Err(error.into()),
    }
}

/// Signs an account in.
///
/// # Errors
/// [`Error::WrongCredentials`], or [`Error::Overloaded`] as in [`register`].
pub async fn log_in(app: &App, name: &str, password: &str) -> Result<Session, Error> {
    // A longer one than can be registered is wrong anyhow, and would only cost time.
    if text::password(password).is_err() {
        return Err(Error::WrongCredentials);
    }
    // A name that nobody has is compared with the hash of the next one's, whose cost is that of an
    // account: after the cost was changed, time would tell accounts that have the old one.
    let found = app.store.account_or_next(&text::account_key(name)).await?;
    let hash = found.as_ref().map(|(account, _)| account.password_hash.clone());
    let verdict = app.passwords.verify(password.to_owned(), hash).await?;
    let account = found.and_then(|(account, exact)| exact.then_some(account));
    let (Some(account), true) = (account, verdict.matches) else {
        return Err(Error::WrongCredentials);
    };
    if verdict.outdated {
        // The cost was changed since: the next logins shall take what the configuration says.
        let new = app.passwords.hash(password.to_owned()).await?;
        app.store.replace_password_hash(account.user.id, &account.password_hash, &new).await?;
    }
    sign_in(app, account.user).await
}

async fn sign_in(app: &App, user: User) -> Result<Session, Error> {
    let now_ms = unix_ms();
    let refresh = app.tokens.new_refresh();
    let sign_in = SignIn {
        family: refresh.family().to_owned(),
        user: user.id,
        secret_hash: refresh.secret_hash(),
    };
    app.store
        .create_sign_in(
            &sign_in,
            app.config.quotas.sign_ins_per_user,
            now_ms,
            now_ms + app.tokens.refresh_lifetime_ms(),
        )
        .await?;
    session(app, user, &refresh)
}

fn session(app: &App, user: User, refresh: &token::Refresh) -> Result<Session, Error> {
    Ok(Session {
        access_token: app.tokens.access(user.id, refresh.family())?,
        expires_in_s: app.tokens.access_lifetime_s(),
        refresh_token: refresh.to_text(),
        user,
    })
}

/// The next pair of tokens. The shown refresh token is used up; showing it again (but for the
/// first seconds, when an answer may have been lost) ends the sign-in, since one of the two who
/// hold it has stolen it.
///
/// # Errors
/// [`Error::InvalidRefreshToken`] when it is unknown, expired or used up.
pub async fn refresh(app: &App, refresh_token: &str) -> Result<Session, Error> {
    let shown = token::Refresh::parse(refresh_token).ok_or(Error::InvalidRefreshToken)?;
    let next = app.tokens.next_refresh(&shown);
    let now_ms = unix_ms();
    let outcome = app
        .store
        .refresh_sign_in(Refresh {
            family: shown.family(),
            shown_hash: &shown.secret_hash(),
            next_hash: &next.secret_hash(),
            now_ms,
            expires_at_ms: now_ms + app.tokens.refresh_lifetime_ms(),
            grace_ms: app.tokens.refresh_grace_ms(),
        })
        .await?;
    match outcome {
        Refreshed::Rotated(id) => {
            let user = app.store.user(id).await?.ok_or(Error::InvalidRefreshToken)?;
            session(app, user, &next)
        }
        Refreshed::Unknown => Err(Error::InvalidRefreshToken),
        Refreshed::Reused(user) => {
            metrics::counter!("hype_control_refresh_reused_total").increment(1);
            tracing::warn!(%user, "a used refresh token was shown again: its sign-in is ended");
            Err(Error::InvalidRefreshToken)
        }
    }
}

/// Ends a sign-in. Its access token stays good for the minutes that it has left; an unknown
/// refresh token is no error, since what was asked for is the case.
///
/// # Errors
/// When the store fails.
pub async fn log_out(app: &App, refresh_token: &str) -> Result<(), Error> {
    if let Some(shown) = token::Refresh::parse(refresh_token) {
        app.store.end_sign_in(shown.family()).await?;
    }
    Ok(())
}

/// Whose access token this is.
///
/// # Errors
/// [`Error::Unauthenticated`] when it is forged or expired.
pub async fn authenticate(app: &App, access_token: &str) -> Result<token::Bearer, Error> {
    app.tokens.verify_access(access_token).await
}

/// Ends all sign-ins of somebody. Access tokens stay good for the minutes that they have left.
///
/// # Errors
/// When the store fails.
pub async fn log_out_everywhere(app: &App, user: UserId) -> Result<(), Error> {
    app.store.end_sign_ins(user, None).await?;
    Ok(())
}

/// Changes a password, and ends all sign-ins but the one by which this was asked.
///
/// # Errors
/// [`Error::WrongCredentials`] when `current` is not the password, [`Error::InvalidRequest`], or
/// [`Error::Overloaded`] as in [`register`].
pub async fn change_password(
    app: &App,
    bearer: &token::Bearer,
    current: &str,
    new: &str,
) -> Result<(), Error> {
    text::password(new)?;
    if text::password(current).is_err() {
        return Err(Error::WrongCredentials);
    }
    let old = app.store.password_hash(bearer.user).await?.ok_or(Error::Unauthenticated)?;
    let verdict = app.passwords.verify(current.to_owned(), Some(old.clone())).await?;
    if !verdict.matches {
        return Err(Error::WrongCredentials);
    }
    let hash = app.passwords.hash(new.to_owned()).await?;
    if !app.store.replace_password_hash(bearer.user, &old, &hash).await? {
        // Changed by another client meanwhile: what was shown is not the password any more.
        return Err(Error::WrongCredentials);
    }
    app.store.end_sign_ins(bearer.user, Some(&bearer.family)).await?;
    Ok(())
}

/// The person behind an id.
///
/// # Errors
/// [`Error::Unauthenticated`] when there is no such account (any more).
pub async fn me(app: &App, user: UserId) -> Result<User, Error> {
    app.store.user(user).await?.ok_or(Error::Unauthenticated)
}
