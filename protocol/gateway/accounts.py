"""The endpoints of accounts, sessions, guests and tickets."""

from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import hdrs, web
from msgspec import UnsetType

from protocol import requests
from protocol.accounts import (
    AccountView,
    CreateAccount,
    Credentials,
    DeleteAccount,
    EditAccount,
    EndSession,
    OpenSession,
    ReadAccount,
    ReadCredentials,
    RotateSession,
    SessionState,
    UserCommand,
)
from protocol.commands import ANONYMOUS, Person
from protocol.errors import Refused
from protocol.gateway.authentication import HOST_SESSION
from protocol.gateway.backend import Answer, Backend
from protocol.gateway.http import GUEST_PREFIX, Call, Handler, answer, no_content
from protocol.gateway.passwords import Passwords
from protocol.gateway.revoked import Revoked
from protocol.gateway.settings import GatewaySettings
from protocol.gateway.tokens import Tokens
from protocol.times import rfc3339


class Accounts:
    def __init__(
        self,
        backend: Backend,
        settings: GatewaySettings,
        tokens: Tokens,
        passwords: Passwords,
        revoked: Revoked,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._tokens = tokens
        self._passwords = passwords
        self._revoked = revoked

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "sign_up": self.sign_up,
            "sign_in": self.sign_in,
            "refresh_session": self.refresh,
            "sign_out": self.sign_out,
            "sign_in_as_guest": self.sign_in_as_guest,
            "read_me": self.read_me,
            "edit_me": self.edit_me,
            "delete_me": self.delete_me,
            "read_user": self.read_user,
            "make_ticket": self.make_ticket,
        }

    # -- becoming someone

    async def sign_up(self, call: Call) -> web.Response:
        body: requests.SignUp = call.body
        if not self._settings.sign_up:
            raise Refused("sign_up_closed")
        if body.handle.startswith(GUEST_PREFIX):
            raise Refused("handle_taken", f"handles that begin with {GUEST_PREFIX} are for guests")
        try:
            account = await self._create(body)
        except Refused as refusal:
            if refusal.code != "handle_taken" or call.op is None:
                raise
            # Perhaps the answer to this very request was lost: who knows the password is who signed up.
            account = await self._retried(body)
        location = f"/v1/users/{quote(account.handle)}"
        return answer(await self._signed_in(account), status=201, headers={hdrs.LOCATION: location})

    async def sign_in(self, call: Call) -> web.Response:
        body: requests.SignIn = call.body
        account = await self._verified(body.login, body.password)
        return answer(await self._signed_in(account), status=201)

    async def sign_in_as_guest(self, call: Call) -> web.Response:
        body: requests.NewGuest = call.body
        if not self._settings.guests:
            raise Refused("guests_not_allowed")
        number = await self._backend.account_number()
        command = CreateAccount(
            account=number, kind="guest", handle=f"{GUEST_PREFIX}{number}", name=body.name, role="guest"
        )
        account: AccountView = await self._ask(command)
        return answer(await self._signed_in(account), status=201)

    async def refresh(self, call: Call) -> web.Response:
        body: requests.RefreshSession = call.body
        token = self._tokens.read_refresh(body.refresh_token)
        try:
            account: AccountView = await self._ask(ReadAccount(account=token.account))
            state: SessionState = await self._ask(
                RotateSession(
                    account=token.account,
                    session=token.session,
                    generation=token.generation,
                    ttl_ms=self._session_ttl_ms(account),
                )
            )
        except Refused as refusal:
            if refusal.code not in ("session_ended", "account_not_found"):
                raise
            # Signed out, deleted, or a token used twice: what access tokens are still about end with it.
            await self._revoked.end_session(token.session)
            raise Refused("session_ended") from None
        return answer(self._pair(account, state))

    # -- being someone

    async def sign_out(self, call: Call) -> web.Response:
        session = _own_session(call, "ends this session")
        await self._ask(EndSession(account=call.by.id, session=session), call.by)
        await self._revoked.end_session(session)
        return no_content()

    async def read_me(self, call: Call) -> web.Response:
        return answer(await self._ask(ReadAccount(account=call.by.id), call.by))

    async def edit_me(self, call: Call) -> web.Response:
        body: requests.EditProfile = call.body
        session = _own_session(call, "keeps this profile")
        command = EditAccount(
            account=call.by.id,
            name=_given(body.name),
            url=_given(body.url),
            password_hash=await self._new_hash(call, body),
        )
        account: AccountView = await self._ask(command, call.by)
        token, expires_s = self._tokens.access(account.person, session, self._settings.access_ttl_s)
        return answer(requests.SignedIn(account=account, access_token=token, expires_at=rfc3339(expires_s)))

    async def delete_me(self, call: Call) -> web.Response:
        account: AccountView = await self._ask(ReadAccount(account=call.by.id), call.by)
        await self._ask(DeleteAccount(account=call.by.id), call.by)
        await self._revoked.end_account(call.by.id)
        if account.email is not None:
            await self._backend.release_name("email", account.email, call.by.id)
        return no_content()

    async def read_user(self, call: Call) -> web.Response:
        account: AccountView = await self._ask(ReadAccount(account=await call.account()), call.by)
        profile = requests.PublicProfile(
            id=account.id,
            handle=account.handle,
            name=account.name,
            url=account.url or None,
            role=account.role,
            created_at=account.created_at,
            posts=account.posts,
            followers=account.followers,
            following=account.following,
        )
        return answer(profile)

    async def make_ticket(self, call: Call) -> web.Response:
        ticket, expires_s = self._tokens.ticket(call.identity)
        return answer(requests.Ticket(ticket=ticket, expires_at=rfc3339(expires_s)), status=201)

    # -- parts

    async def _create(self, body: requests.SignUp) -> AccountView:
        """Claim the names, then make the account of the id that they are bound to."""
        password_hash = await self._passwords.hash(body.password)
        names = [("handle", body.handle)] + ([("email", body.email)] if body.email is not None else [])
        claimed = await self._backend.claim_names("account", names, await self._backend.account_number())
        if isinstance(claimed, str):
            raise Refused(f"{claimed}_taken")
        command = CreateAccount(
            account=claimed,
            kind="member",
            handle=body.handle,
            name=body.name or body.handle,
            email=body.email,
            password_hash=password_hash,
        )
        try:
            account: AccountView = await self._ask(command)
        except Refused as refusal:
            if refusal.code != "already_exists":
                raise
            # Two claimed the same handle at once, and the other was first: the e-mail address is free for its owner.
            await self._release_email(body.email, claimed)
            raise Refused("handle_taken") from None
        return account

    async def _release_email(self, email: str | None, number: int) -> None:
        """Give ``email`` back unless the account has it."""
        if email is None:
            return
        account: AccountView = await self._ask(ReadAccount(account=number))
        if account.email != email:
            await self._backend.release_name("email", email, number)

    async def _retried(self, body: requests.SignUp) -> AccountView:
        """The account that an earlier try of the same sign-up made. Raises ``Refused("handle_taken")``."""
        try:
            account = await self._verified(body.handle, body.password)
        except Refused:
            raise Refused("handle_taken") from None
        if account.email != body.email:
            raise Refused("handle_taken")
        return account

    async def _verified(self, login: str, password: str) -> AccountView:
        """The account whose name and password these are; as slow to refuse an unknown name as a wrong password.

        Raises ``Refused("wrong_credentials")``.
        """
        kind = "email" if "@" in login else "handle"
        number = await self._backend.resolve(kind, login.strip().lower())
        stored = await self._password_hash(number)
        if not await self._passwords.matches(password, stored) or number is None or stored is None:
            raise Refused("wrong_credentials")
        if self._passwords.outdated(stored):
            await self._ask(EditAccount(account=number, password_hash=await self._passwords.hash(password)))
        account: AccountView = await self._ask(ReadAccount(account=number))
        return account

    async def _password_hash(self, number: int | None) -> str | None:
        if number is None:
            return None
        try:
            credentials: Credentials = await self._ask(ReadCredentials(account=number))
        except Refused:
            return None
        return credentials.password_hash

    async def _new_hash(self, call: Call, body: requests.EditProfile) -> str | None:
        """The hash of a new password, for who knows the present one."""
        if isinstance(body.password, UnsetType):
            return None
        current = "" if isinstance(body.current_password, UnsetType) else body.current_password
        if not await self._passwords.matches(current, await self._password_hash(call.by.id)):
            raise Refused("wrong_credentials", "current_password is not the present password")
        return await self._passwords.hash(body.password)

    async def _signed_in(self, account: AccountView) -> requests.SignedIn:
        command = OpenSession(
            account=int(account.id), session=self._tokens.new_id(), ttl_ms=self._session_ttl_ms(account)
        )
        return self._pair(account, await self._ask(command))

    def _pair(self, account: AccountView, state: SessionState) -> requests.SignedIn:
        token, expires_s = self._tokens.access(account.person, state.session, self._settings.access_ttl_s)
        return requests.SignedIn(
            account=account,
            access_token=token,
            expires_at=rfc3339(expires_s),
            refresh_token=self._tokens.refresh(state.session, int(account.id), state.generation),
        )

    def _session_ttl_ms(self, account: AccountView) -> int:
        guest = account.kind == "guest"
        return 1000 * (self._settings.guest_ttl_s if guest else self._settings.refresh_ttl_s)

    async def _ask(self, command: UserCommand, by: Person = ANONYMOUS) -> Answer:
        return await self._backend.ask(f"user:{command.account}", command, by)


def _own_session(call: Call, what_the_host_does: str) -> str:
    """The session that was opened here. Raises ``Refused("not_available")`` for a user of the host site's."""
    session = call.identity.session
    if session is None or session.startswith(HOST_SESSION):
        raise Refused("not_available", f"the site that signed you in {what_the_host_does}")
    return session


def _given(value: str | UnsetType) -> str | None:
    return None if isinstance(value, UnsetType) else value
