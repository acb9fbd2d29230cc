"""The portal: pages for operators and integrators, made from what the API answers them and from nothing else.

A page asks the API for what it shows, in this process, as the one who is signed in: the API's routes decide who may
see and do what, check what is sent, and write. So a screen has no code of its own for that, and no session of the
database. What a screen has asked for is shown on it as a `curl` command.

A screen is a function in a module of `screens`, and a template in `templates`:

    async def show_hooks(visit: Visit) -> Response:
        call = Call.get("/hooks", event=visit.query("event"), cursor=visit.query("cursor"))
        answer = await visit.ask(HooksAnswer, call)
        return await visit.page("hooks.html", calls=[call], commands=["hookstream hooks list"], hooks=answer.hooks)

    async def disable_hook(visit: Visit) -> Response:
        try:
            await visit.do(Call.post(f"/hooks/{visit.path('hook')}/disable"))
        except ApiProblemError as exc:  # without this: a page that says what is wrong
            return await _show(visit, problem=exc.problem)
        return visit.redirect(f"/hooks/{visit.path('hook')}", done="disabled")

    HOOK_SCREENS = (
        Screen(path="/hooks", view=show_hooks, roles=EVERYONE),
        Screen(path="/hooks/{hook}/disable", view=disable_hook, roles=EVERYONE, method="POST"),
    )

and its place in `screens.SCREENS` and, where it has one, in `navigation.ITEMS`. Paths are below `/portal`. Before a
screen is called, the session and its role were checked, and of a `POST` also the CSRF token, which a template writes
with `{{ csrf_field }}` into every form. Templates extend `page.html`, take their pieces from `pieces.html`, and write
links as `{{ base }}/hooks`. Nothing needs JavaScript; there are no inline styles or scripts, which the browser refuses.
"""

from .app import PortalConfig, install_portal

__all__ = ["PortalConfig", "install_portal"]
