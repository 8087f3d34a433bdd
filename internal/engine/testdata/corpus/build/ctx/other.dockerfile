FROM IMAGE AS made
ARG WHO
ENV WHO=$WHO
COPY file /file
FROM made AS last
ENV X=last
